-- Frames of some threads' CPU samples as in sample_frames.sql, sorted by time: for files that are not sorted by time.
--
-- :threads        a JSON array of globalTids
--
-- sample_depth    sample * 4096 + depth; sample is the number in samples_by_time.sql
-- module_symbol   as in sample_frames.sql
WITH numbered AS (
  SELECT id, row_number() OVER (ORDER BY start, id) AS number
  FROM COMPOSITE_EVENTS
  WHERE id IS NOT NULL AND start IS NOT NULL AND globalTid IN (SELECT value FROM json_each(:threads))
)
SELECT
  (n.number << 12) | (CAST(c.stackDepth AS INTEGER) & 4095) AS sample_depth,
  (coalesce(CAST(c.module AS INTEGER), 0) << 32)
    | (coalesce(CAST(c.symbol AS INTEGER), 0) & 4294967295) AS module_symbol
FROM SAMPLING_CALLCHAINS AS c JOIN numbered AS n ON n.id = c.id
WHERE c.stackDepth IS NOT NULL
ORDER BY 1;
