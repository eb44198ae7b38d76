-- The CUDA API calls whose stack nsys took (--cudabacktrace).
--
-- thread, correlation_id   as in api_calls.sql
-- callchain_id             of the stack in CUDA_CALLCHAINS
SELECT
  globalTid                   AS thread,
  coalesce(correlationId, -2) AS correlation_id,
  callchainId                 AS callchain_id
FROM CUPTI_ACTIVITY_KIND_RUNTIME
WHERE callchainId IS NOT NULL AND start IS NOT NULL AND end IS NOT NULL AND globalTid IS NOT NULL;
