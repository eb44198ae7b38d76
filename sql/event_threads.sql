-- The threads with OS runtime calls, CPU samples or context switches.
--
-- thread   globalTid
SELECT DISTINCT globalTid AS thread FROM OSRT_API WHERE globalTid IS NOT NULL
UNION
SELECT DISTINCT globalTid FROM COMPOSITE_EVENTS WHERE globalTid IS NOT NULL
UNION
SELECT DISTINCT globalTid FROM SCHED_EVENTS WHERE globalTid IS NOT NULL;
