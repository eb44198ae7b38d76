-- Synchronisations in a stretch of time, of the host or of a stream, and the CUDA event that each waits for.
--
-- :from, :until   ns of the session
--
-- start_ns   ns of the session, within the API call
-- process    globalPid
-- event      nsys's number of the event; without meaning where the call waits for no event
SELECT
  start     AS start_ns,
  globalPid AS process,
  eventId   AS event
FROM CUPTI_ACTIVITY_KIND_SYNCHRONIZATION
WHERE start >= CAST(:from AS INTEGER) AND start < CAST(:until AS INTEGER)
  AND globalPid IS NOT NULL AND eventId IS NOT NULL;
