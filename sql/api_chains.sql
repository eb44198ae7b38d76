-- The stacks that nsys took of CUDA API calls (--cudabacktrace), as the calls refer to them.
--
-- callchain_id   of the stack in CUDA_CALLCHAINS
SELECT callchainId AS callchain_id
FROM CUPTI_ACTIVITY_KIND_RUNTIME
WHERE callchainId IS NOT NULL AND start IS NOT NULL AND end IS NOT NULL AND globalTid IS NOT NULL;
