-- Device operations (kernels, copies, sets, whole graphs), each with the API call that launched it.
--
-- kind               0 kernel, 1 copy, 2 set, 3 graph traced as a whole
-- start_ns, end_ns   on the device, nanoseconds of the session
-- process            globalPid: globalTid & ~0xFFFFFF of the launching thread
-- device, context, stream
-- device_global      the device's number on the machine where the report has the map, else `device`
-- name_id            StringIds.id of the kernel's name, -1 for what has none
-- graph_node         1 for a node of a CUDA graph launch
-- bytes              of a copy or set, 0 for a kernel
-- op_row             rowid in the table of its kind; where several calls share a correlation id (a runtime call
--                    and the driver call inside it) an operation comes once for each, next to each other
-- api_row            rowid of the launching call in CUPTI_ACTIVITY_KIND_RUNTIME, -1 where there is none
--
-- The join holds the process: a correlation id is unique within a process only.
WITH device_op AS (
  SELECT 0 AS kind, start, end, globalPid, deviceId, contextId, streamId, correlationId,
         coalesce(demangledName, shortName) AS nameId, graphNodeId, 0 AS bytes, rowid AS op_row
  FROM CUPTI_ACTIVITY_KIND_KERNEL
  UNION ALL
  SELECT 1, start, end, globalPid, deviceId, contextId, streamId, correlationId, -1, graphNodeId, bytes, rowid
  FROM CUPTI_ACTIVITY_KIND_MEMCPY
  UNION ALL
  SELECT 2, start, end, globalPid, deviceId, contextId, streamId, correlationId, -1, graphNodeId, bytes, rowid
  FROM CUPTI_ACTIVITY_KIND_MEMSET
  UNION ALL
  -- a graph whose start and end are both 0 carries no time: CUPTI's way to say that it was not measured
  SELECT 3, start, end, globalPid, deviceId, contextId, streamId, correlationId, -1, NULL, 0, rowid
  FROM CUPTI_ACTIVITY_KIND_GRAPH_TRACE
  WHERE NOT (start = 0 AND end = 0)
)
SELECT
  op.kind                             AS kind,
  op.start                            AS start_ns,
  op.end                              AS end_ns,
  op.globalPid                        AS process,
  coalesce(op.deviceId, 0)            AS device,
  coalesce(op.contextId, 0)           AS context,
  coalesce(op.streamId, 0)            AS stream,
  coalesce(map.gpuId, op.deviceId, 0) AS device_global,
  coalesce(op.nameId, -1)             AS name_id,
  coalesce(op.graphNodeId, 0) <> 0    AS graph_node,
  coalesce(op.bytes, 0)               AS bytes,
  op.op_row                           AS op_row,
  coalesce(api.rowid, -1)             AS api_row
FROM device_op AS op
LEFT JOIN CUPTI_ACTIVITY_KIND_RUNTIME AS api
  ON api.correlationId = op.correlationId
 AND (api.globalTid & ~0xFFFFFF) = op.globalPid
LEFT JOIN TARGET_INFO_CUDA_DEVICE AS map
  ON map.cudaId = op.deviceId
 AND map.pid = ((op.globalPid >> 24) & 0xFFFFFF)
WHERE op.start IS NOT NULL AND op.end IS NOT NULL;
