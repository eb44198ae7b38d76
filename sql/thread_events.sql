-- How many events some threads have.
--
-- :threads   a JSON array of globalTids
--
-- thread     globalTid
-- os_calls   number of OS runtime calls
-- samples    number of CPU samples
-- switches   number of context switches
WITH
chosen(thread) AS (SELECT value FROM json_each(:threads)),
event AS (
  SELECT globalTid, 1 AS os_calls, 0 AS samples, 0 AS switches FROM OSRT_API
  WHERE (eventClass = 27 OR eventClass IS NULL) AND globalTid IN chosen
  UNION ALL
  SELECT globalTid, 0, 1, 0 FROM COMPOSITE_EVENTS WHERE globalTid IN chosen
  UNION ALL
  SELECT globalTid, 0, 0, 1 FROM SCHED_EVENTS WHERE globalTid IN chosen
)
SELECT
  CAST(globalTid AS INTEGER) AS thread,
  sum(os_calls)              AS os_calls,
  sum(samples)               AS samples,
  sum(switches)              AS switches
FROM event
GROUP BY globalTid;
