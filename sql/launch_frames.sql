-- Frames of the call chains of CUDA API calls (--cudabacktrace).
--
-- sample_depth    chain * 4096 + depth, as in sample_frames.sql; the chain is api_calls.sql's callchain_id
-- module_symbol   module * 2^32 + symbol, both StringIds.id
SELECT
  (CAST(id AS INTEGER) << 12) | (CAST(stackDepth AS INTEGER) & 4095)                                AS sample_depth,
  (coalesce(CAST(module AS INTEGER), 0) << 32) | (coalesce(CAST(symbol AS INTEGER), 0) & 4294967295) AS module_symbol
FROM CUDA_CALLCHAINS
WHERE id IS NOT NULL AND stackDepth IS NOT NULL;
