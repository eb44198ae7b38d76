-- OS runtime calls of one thread: os_calls.sql without the column `thread`.
--
-- :thread             the globalTid, as text
--
-- start_ns, end_ns   as in api_calls.sql
-- name_id            StringIds.id of the function
--
-- Event class 27 is a call; other classes mark the begin and end of the tracing.
SELECT
  start                AS start_ns,
  end                  AS end_ns,
  coalesce(nameId, -1) AS name_id
FROM OSRT_API
WHERE (eventClass = 27 OR eventClass IS NULL)
  AND start IS NOT NULL AND end IS NOT NULL
  AND globalTid = CAST(:thread AS INTEGER);
