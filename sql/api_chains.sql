-- The call chains to which CUDA API calls refer (--cudabacktrace), one row per call.
--
-- callchain_id   CUDA_CALLCHAINS.id of the call's chain
SELECT callchainId AS callchain_id
FROM CUPTI_ACTIVITY_KIND_RUNTIME
WHERE callchainId IS NOT NULL AND start IS NOT NULL AND end IS NOT NULL AND globalTid IS NOT NULL;
