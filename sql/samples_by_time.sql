-- CPU samples of some threads as in samples.sql, sorted by time: for files that are not sorted by time.
--
-- :threads   a JSON array of globalTids
--
-- sample_id  the sample's number in the order of time; joins sample_frames_by_time.sql
-- start_ns   time of the sample, nanoseconds of the session
-- thread     globalTid
SELECT
  row_number() OVER (ORDER BY start, id) AS sample_id,
  start                                  AS start_ns,
  globalTid                              AS thread
FROM COMPOSITE_EVENTS
WHERE id IS NOT NULL AND start IS NOT NULL AND globalTid IN (SELECT value FROM json_each(:threads))
ORDER BY 1;
