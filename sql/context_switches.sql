-- Context switches of some threads.
--
-- :threads   a JSON array of globalTids
--
-- start_ns   nanoseconds of the session
-- thread     globalTid
-- is_in      1: the thread was scheduled onto a CPU, 0: off it
SELECT
  start                       AS start_ns,
  globalTid                   AS thread,
  coalesce(isSchedIn, 0) <> 0 AS is_in
FROM SCHED_EVENTS
WHERE start IS NOT NULL AND globalTid IN (SELECT value FROM json_each(:threads));
