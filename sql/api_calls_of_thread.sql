-- CUDA API calls of a report in which one thread makes all of them: api_calls.sql without the column `thread`.
--
-- :thread   the globalTid, as text
SELECT
  start                       AS start_ns,
  end                         AS end_ns,
  coalesce(correlationId, -2) AS correlation_id,
  coalesce(nameId, -1)        AS name_id
FROM CUPTI_ACTIVITY_KIND_RUNTIME
WHERE start IS NOT NULL AND end IS NOT NULL AND globalTid = CAST(:thread AS INTEGER);
