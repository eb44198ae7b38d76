-- The NVTX ranges that may mark a phase: those of nvtx_ranges.sql without most operators and library ranges, which
-- are nearly all of the rows. What is left is judged by its text.
--
-- :domains   a JSON array of domain ids that are a library's in every process
--
-- columns as in nvtx_ranges.sql
SELECT
  start     AS start_ns,
  end       AS end_ns,
  globalTid AS thread,
  CASE WHEN textId IS NULL AND coalesce(domainId, 0) = 0 AND text >= ' ' AND text < x''
    THEN text
    ELSE char(1) || CAST(coalesce(domainId, 0) AS INTEGER) || ' '
      || CASE WHEN textId >= 0 THEN CAST(textId AS INTEGER) ELSE ' ' || coalesce(CAST(text AS TEXT), '') END
  END       AS text
FROM NVTX_EVENTS
WHERE (eventType BETWEEN 59 AND 60 OR eventType BETWEEN 70 AND 71)
  AND start IS NOT NULL AND end IS NOT NULL AND globalTid IS NOT NULL
  AND NOT (textId IS NULL AND text >= 'aten::' AND text < 'aten:;')
  AND (domainId IS NULL OR domainId = 0 OR domainId NOT IN (SELECT value FROM json_each(:domains)));
