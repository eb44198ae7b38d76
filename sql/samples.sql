-- CPU samples of some threads, one row per sample.
--
-- :threads   a JSON array of globalTids
--
-- sample_id  joins sample_frames.sql
-- start_ns   time of the sample, nanoseconds of the session
-- thread     globalTid
SELECT
  id        AS sample_id,
  start     AS start_ns,
  globalTid AS thread
FROM COMPOSITE_EVENTS
WHERE id IS NOT NULL AND start IS NOT NULL AND globalTid IN (SELECT value FROM json_each(:threads));
