-- OS runtime calls (blocking functions of libc and pthread) of some threads.
--
-- :threads                   a JSON array of globalTids
--
-- start_ns, end_ns, thread   as in api_calls.sql
-- name_id                    StringIds.id of the function
--
-- Event class 27 is a call; other classes mark the begin and end of the tracing.
SELECT
  start                AS start_ns,
  end                  AS end_ns,
  globalTid            AS thread,
  coalesce(nameId, -1) AS name_id
FROM OSRT_API
WHERE (eventClass = 27 OR eventClass IS NULL)
  AND start IS NOT NULL AND end IS NOT NULL
  AND globalTid IN (SELECT value FROM json_each(:threads));
