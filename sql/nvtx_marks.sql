-- The NVTX ranges that may mark a phase: those of nvtx_ranges.sql without most operators and library ranges, which
-- are nearly all of the rows. What is left is judged by its text.
--
-- :domains   a JSON array of domain ids that are a library's in every process
--
-- columns as in nvtx_ranges.sql
SELECT
  start                                                                  AS start_ns,
  end                                                                    AS end_ns,
  globalTid                                                              AS thread,
  (coalesce(domainId, 0) << 32) | (coalesce(textId, -1) & 4294967295)    AS domain_text_id,
  coalesce(CAST(text AS TEXT), '')                                       AS text
FROM NVTX_EVENTS
WHERE (eventType BETWEEN 59 AND 60 OR eventType BETWEEN 70 AND 71)
  AND start IS NOT NULL AND end IS NOT NULL AND globalTid IS NOT NULL
  AND NOT (textId IS NULL AND text >= 'aten::' AND text < 'aten:;')
  AND (domainId IS NULL OR domainId = 0 OR domainId NOT IN (SELECT value FROM json_each(:domains)));
