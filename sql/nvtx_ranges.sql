-- NVTX ranges (push/pop and start/end).
--
-- start_ns, end_ns   nanoseconds of the session; ranges without an end are left out
-- thread             globalTid of the thread that opened the range
-- domain_id          0 is the default domain; see nvtx_domains.sql
-- text_id            StringIds.id of a registered text, -1 for a text of its own
-- text               the range's own text, '' for a registered one
SELECT
  start                            AS start_ns,
  end                              AS end_ns,
  globalTid                        AS thread,
  coalesce(domainId, 0)            AS domain_id,
  coalesce(textId, -1)             AS text_id,
  coalesce(CAST(text AS TEXT), '') AS text
FROM NVTX_EVENTS
WHERE eventType IN (59, 60, 70, 71)
  AND start IS NOT NULL AND end IS NOT NULL AND globalTid IS NOT NULL;
