-- NVTX ranges (push/pop and start/end).
--
-- start_ns, end_ns   nanoseconds of the session; ranges without an end are left out
-- thread             globalTid of the thread that opened the range
-- domain_id          0 is the default domain; see nvtx_domains.sql
-- text_id            StringIds.id of a registered text, -1 for a text of its own
-- text               the range's own text, '' for a registered one
SELECT
  CAST(start AS INTEGER)                  AS start_ns,
  CAST(end AS INTEGER)                    AS end_ns,
  CAST(globalTid AS INTEGER)              AS thread,
  coalesce(CAST(domainId AS INTEGER), 0)  AS domain_id,
  coalesce(CAST(textId AS INTEGER), -1)   AS text_id,
  coalesce(CAST(text AS TEXT), '')        AS text
FROM NVTX_EVENTS
WHERE eventType IN (59, 60, 70, 71)
  AND start IS NOT NULL AND end >= start AND globalTid IS NOT NULL;
