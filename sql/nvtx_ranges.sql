-- NVTX ranges (push/pop and start/end): all of them, or only those that may mark a phase.
--
-- :all               1: all ranges. 0: without most ranges of operators and libraries, which are most rows; the
--                    caller classifies the remaining ranges by their text
-- :domains           a JSON array of domain ids to leave out: those that belong to a library in every process
--
-- start_ns, end_ns   nanoseconds of the session; ranges without an end are left out
-- thread             globalTid of the thread that opened the range
-- text               for an unregistered text in the default domain (nearly all ranges): the text. Otherwise an encoded
--                    form: the character 1, the domain id (nvtx_domains.sql), a space, and then either the StringIds.id
--                    of the registered text, or another space and the text. One column instead of three, because read
--                    time grows with the number of cells. A text that is no string, or starts with a character before
--                    the space, is encoded too
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
-- The operators come first in the condition: they are most rows, and SQLite tests the terms in this order.
WHERE (CAST(:all AS INTEGER) OR NOT (text >= 'aten::' AND text < 'aten:;' AND textId IS NULL))
  AND (eventType BETWEEN 59 AND 60 OR eventType BETWEEN 70 AND 71)
  AND start IS NOT NULL AND end IS NOT NULL AND globalTid IS NOT NULL
  AND (CAST(:all AS INTEGER)
    OR domainId IS NULL OR domainId = 0 OR domainId NOT IN (SELECT value FROM json_each(:domains)));
