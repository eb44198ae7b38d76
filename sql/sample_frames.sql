-- Frames of the call chains of all CPU samples. There are tens of frames per sample, so four numbers are packed into
-- two, which halves the time to read them.
--
-- sample_depth    sample * 4096 + depth; depth 0 is the leaf
-- module_symbol   module * 2^32 + symbol, both StringIds.id (event_names.sql gives the text)
SELECT
  (CAST(id AS INTEGER) << 12) | (CAST(stackDepth AS INTEGER) & 4095)                                AS sample_depth,
  (coalesce(CAST(module AS INTEGER), 0) << 32) | (coalesce(CAST(symbol AS INTEGER), 0) & 4294967295) AS module_symbol
FROM SAMPLING_CALLCHAINS
WHERE id IS NOT NULL AND stackDepth IS NOT NULL;
