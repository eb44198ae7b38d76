-- NVTX ranges (push/pop and start/end), or those that may mark a phase.
--
-- :all               1: all ranges. 0: without most of the operators' and libraries', which are nearly all of the rows;
--                    what is left is judged by its text
-- :domains           a JSON array of domain ids that are a library's in every process, for leaving those out
--
-- start_ns, end_ns   nanoseconds of the session; ranges without an end are left out
-- thread             globalTid of the thread that opened the range
-- text               the own text of a range in the default domain, as nearly all are. Of any other: a character 1, the
--                    domain (see nvtx_domains.sql), a space, and either the StringIds.id of a registered text or
--                    another space and the own text. One cell, since cells are what reading costs; a text that is not
--                    text, or begins below a space, is told like the others
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
  AND (CAST(:all AS INTEGER)
    OR NOT (textId IS NULL AND text >= 'aten::' AND text < 'aten:;')
      AND (domainId IS NULL OR domainId = 0 OR domainId NOT IN (SELECT value FROM json_each(:domains))));
