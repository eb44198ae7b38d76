-- The threads with OS runtime calls, CPU samples or context switches.
--
-- :thread   a globalTid, as text: its OS calls, which may be nearly all, are passed over, because looking up whether a
--           thread is new takes longer than a comparison. Without samples and switches this thread is left out
--
-- thread    globalTid
SELECT DISTINCT globalTid AS thread FROM OSRT_API WHERE globalTid <> CAST(:thread AS INTEGER)
UNION
SELECT DISTINCT globalTid FROM COMPOSITE_EVENTS WHERE globalTid IS NOT NULL
UNION
SELECT DISTINCT globalTid FROM SCHED_EVENTS WHERE globalTid IS NOT NULL;
