-- CUDA graph launches that were traced as a whole. CUPTI sets start and end to 0 for launches that it did not measure;
-- they are left out.
--
-- start_ns, end_ns   on the device, nanoseconds of the session
-- process            globalPid: globalTid & ~0xFFFFFF of the launching thread
-- device, context, stream
-- correlation_id     joins the launching call in api_calls.sql, within the process; -1 where there is none
-- name_id            -1: no kernel name
-- node_blocks        0: a whole graph, not a node
SELECT
  start                          AS start_ns,
  end                            AS end_ns,
  globalPid                      AS process,
  coalesce(deviceId, 0)          AS device,
  coalesce(contextId, 0)         AS context,
  coalesce(streamId, 0)          AS stream,
  coalesce(correlationId, -1)    AS correlation_id,
  -1                             AS name_id,
  0                              AS node_blocks
FROM CUPTI_ACTIVITY_KIND_GRAPH_TRACE
WHERE start IS NOT NULL AND end IS NOT NULL AND NOT (start = 0 AND end = 0);
