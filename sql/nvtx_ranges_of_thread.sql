-- The NVTX ranges of a report in which one thread makes all CUDA calls: nvtx_ranges.sql with all ranges, and without
-- the column `thread`.
--
-- :thread            the globalTid, as text
--
-- start_ns, end_ns   as in nvtx_ranges.sql
-- text               for a range of the thread: as in nvtx_ranges.sql. For one of another thread: the character 2, its
--                    globalTid, a space, and the text as in nvtx_ranges.sql
SELECT
  start     AS start_ns,
  end       AS end_ns,
  CASE WHEN globalTid = CAST(:thread AS INTEGER)
      AND textId IS NULL AND coalesce(domainId, 0) = 0 AND text >= ' ' AND text < x''
    THEN text
    ELSE CASE WHEN globalTid = CAST(:thread AS INTEGER) THEN '' ELSE char(2) || globalTid || ' ' END
      || CASE WHEN textId IS NULL AND coalesce(domainId, 0) = 0 AND text >= ' ' AND text < x''
        THEN text
        ELSE char(1) || CAST(coalesce(domainId, 0) AS INTEGER) || ' '
          || CASE WHEN textId >= 0 THEN CAST(textId AS INTEGER) ELSE ' ' || coalesce(CAST(text AS TEXT), '') END
        END
  END       AS text
FROM NVTX_EVENTS
WHERE (eventType BETWEEN 59 AND 60 OR eventType BETWEEN 70 AND 71)
  AND start IS NOT NULL AND end IS NOT NULL AND globalTid IS NOT NULL;
