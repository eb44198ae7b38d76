-- CUDA API calls where one thread makes all of them: what api_calls.sql selects, less the thread.
--
-- :thread   the globalTid, as text
SELECT
  start                       AS start_ns,
  end                         AS end_ns,
  coalesce(correlationId, -2) AS correlation_id,
  coalesce(nameId, -1)        AS name_id
FROM CUPTI_ACTIVITY_KIND_RUNTIME
WHERE start IS NOT NULL AND end IS NOT NULL AND globalTid = CAST(:thread AS INTEGER);
