-- CUDA API calls with the ids of their call chains (--cudabacktrace): the columns of api_calls.sql, and
--
-- callchain_id   CUDA_CALLCHAINS.id of the call's chain; null where none was recorded
SELECT
  start                       AS start_ns,
  end                         AS end_ns,
  globalTid                   AS thread,
  coalesce(correlationId, -2) AS correlation_id,
  coalesce(nameId, -1)        AS name_id,
  callchainId                 AS callchain_id
FROM CUPTI_ACTIVITY_KIND_RUNTIME
WHERE start IS NOT NULL AND end IS NOT NULL AND globalTid IS NOT NULL;
