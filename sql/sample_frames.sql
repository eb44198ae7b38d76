-- The frames of the CPU samples' call chains, of all threads: there are tens of them a sample, so each is two
-- numbers and not four (half the time to read).
--
-- sample_depth    sample * 4096 + depth; depth 0 is the leaf
-- module_symbol   module * 2^32 + symbol, both StringIds.id (event_names.sql gives the text)
SELECT
  (CAST(id AS INTEGER) << 12) | (CAST(stackDepth AS INTEGER) & 4095)                                AS sample_depth,
  (coalesce(CAST(module AS INTEGER), 0) << 32) | (coalesce(CAST(symbol AS INTEGER), 0) & 4294967295) AS module_symbol
FROM SAMPLING_CALLCHAINS
WHERE id IS NOT NULL AND stackDepth IS NOT NULL;
