-- How many rows of each kind of evidence a report holds, for `doctor`.
--
-- topic    samples (CPU samples of the launching threads), sample_frames (their frames), chained_launches (CUDA API
--          calls with a call chain), sched (scheduling events)
-- amount   number of rows
WITH host_thread AS (
  SELECT globalTid FROM CUPTI_ACTIVITY_KIND_RUNTIME
),
host_sample AS (
  SELECT id FROM COMPOSITE_EVENTS WHERE globalTid IN host_thread
)
SELECT 'samples' AS topic, count(*) AS amount FROM host_sample
UNION ALL
SELECT 'sample_frames', count(*) FROM SAMPLING_CALLCHAINS WHERE id IN host_sample
UNION ALL
SELECT 'chained_launches', count(*) FROM CUPTI_ACTIVITY_KIND_RUNTIME WHERE coalesce(callchainId, 0) <> 0
UNION ALL
SELECT 'sched', count(*) FROM SCHED_EVENTS;
