-- CUDA graphs that were traced as a whole. One whose start and end are both 0 was not measured: CUPTI's way to
-- say so.
--
-- start_ns, end_ns   on the device, nanoseconds of the session
-- process            globalPid: globalTid & ~0xFFFFFF of the launching thread
-- device, context, stream
-- correlation_id     of the launching call (api_calls.sql), within the process alone; -1 where there is none
-- name_id            StringIds.id of the kernel's name, -1 for what has none
-- graph_node         1 for a node of a CUDA graph launch
SELECT
  start                          AS start_ns,
  end                            AS end_ns,
  globalPid                      AS process,
  coalesce(deviceId, 0)          AS device,
  coalesce(contextId, 0)         AS context,
  coalesce(streamId, 0)          AS stream,
  coalesce(correlationId, -1)    AS correlation_id,
  -1                             AS name_id,
  0                              AS graph_node
FROM CUPTI_ACTIVITY_KIND_GRAPH_TRACE
WHERE start IS NOT NULL AND end IS NOT NULL AND NOT (start = 0 AND end = 0);
