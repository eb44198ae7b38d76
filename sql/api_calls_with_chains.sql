-- CUDA API calls of the host with the stacks that nsys took of them (--cudabacktrace): what api_calls.sql selects, and
--
-- callchain_id   of the stack in CUDA_CALLCHAINS; null where no stack was taken
SELECT
  start                       AS start_ns,
  end                         AS end_ns,
  globalTid                   AS thread,
  coalesce(correlationId, -2) AS correlation_id,
  coalesce(nameId, -1)        AS name_id,
  callchainId                 AS callchain_id
FROM CUPTI_ACTIVITY_KIND_RUNTIME
WHERE start IS NOT NULL AND end IS NOT NULL AND globalTid IS NOT NULL;
