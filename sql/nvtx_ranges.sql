-- NVTX ranges (push/pop and start/end).
--
-- start_ns, end_ns   nanoseconds of the session; ranges without an end are left out
-- thread             globalTid of the thread that opened the range
-- domain_text_id     domain * 2^32 + the StringIds.id of a registered text (2^32 - 1: a text of its own); domain 0 is
--                    the default one, see nvtx_domains.sql
-- text               the range's own text, '' for a registered one
SELECT
  start                                                                  AS start_ns,
  end                                                                    AS end_ns,
  globalTid                                                              AS thread,
  (coalesce(domainId, 0) << 32) | (coalesce(textId, -1) & 4294967295)    AS domain_text_id,
  coalesce(CAST(text AS TEXT), '')                                       AS text
FROM NVTX_EVENTS
WHERE (eventType BETWEEN 59 AND 60 OR eventType BETWEEN 70 AND 71)
  AND start IS NOT NULL AND end IS NOT NULL AND globalTid IS NOT NULL;
