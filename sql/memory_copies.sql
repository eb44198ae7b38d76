-- Memory copies on the device.
--
-- start_ns, end_ns   on the device, nanoseconds of the session
-- process            globalPid: globalTid & ~0xFFFFFF of the launching thread
-- device, context, stream
-- correlation_id     joins the launching call in api_calls.sql, within the process; -1 where there is none
-- name_id            -1: no kernel name
-- node_blocks        as in kernels.sql: -1 if the operation is a node of a CUDA graph launch, else 0
-- bytes              number of bytes copied
-- from_host          1 if copied from the host's memory to a device, else 0
SELECT
  start                          AS start_ns,
  end                            AS end_ns,
  globalPid                      AS process,
  coalesce(deviceId, 0)          AS device,
  coalesce(contextId, 0)         AS context,
  coalesce(streamId, 0)          AS stream,
  coalesce(correlationId, -1)    AS correlation_id,
  -1                             AS name_id,
  -(coalesce(graphNodeId, 0) <> 0) AS node_blocks,
  coalesce(bytes, 0)             AS bytes,
  coalesce(copyKind, 0) = 1      AS from_host
FROM CUPTI_ACTIVITY_KIND_MEMCPY
WHERE start IS NOT NULL AND end IS NOT NULL;
