-- When the threads that call CUDA came onto a CPU and left it.
--
-- start_ns   nanoseconds of the session
-- thread     globalTid
-- is_in      1 onto a CPU, 0 off it
WITH host_thread AS (SELECT globalTid FROM CUPTI_ACTIVITY_KIND_RUNTIME)
SELECT
  start                       AS start_ns,
  globalTid                   AS thread,
  coalesce(isSchedIn, 0) <> 0 AS is_in
FROM SCHED_EVENTS
WHERE start IS NOT NULL AND globalTid IN host_thread;
