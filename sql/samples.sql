-- CPU samples of the threads that call CUDA, one row a sample.
--
-- sample_id  joins sample_frames.sql
-- start_ns   when it was taken, nanoseconds of the session
-- thread     globalTid
WITH host_thread AS (SELECT globalTid FROM CUPTI_ACTIVITY_KIND_RUNTIME)
SELECT
  id        AS sample_id,
  start     AS start_ns,
  globalTid AS thread
FROM COMPOSITE_EVENTS
WHERE id IS NOT NULL AND start IS NOT NULL AND globalTid IN host_thread;
