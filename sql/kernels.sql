-- Kernel executions.
--
-- start_ns, end_ns   on the device, nanoseconds of the session
-- process            globalPid: globalTid & ~0xFFFFFF of the launching thread
-- device, context, stream
-- correlation_id     joins the launching call in api_calls.sql, within the process; -1 where there is none
-- name_id            StringIds.id of the kernel's name; -1 without one
-- node_blocks        0 if the operation is no node of a CUDA graph launch; for a node the thread blocks of its grid, -1
--                    where the grid has more than one dimension or is not known. The grid's columns are read for nodes
--                    alone.
SELECT
  start                          AS start_ns,
  end                            AS end_ns,
  globalPid                      AS process,
  coalesce(deviceId, 0)          AS device,
  coalesce(contextId, 0)         AS context,
  coalesce(streamId, 0)          AS stream,
  coalesce(correlationId, -1)    AS correlation_id,
  coalesce(demangledName, shortName, -1) AS name_id,
  CASE WHEN coalesce(graphNodeId, 0) = 0 THEN 0
       WHEN gridX BETWEEN 1 AND 2147483647 AND gridY = 1 AND gridZ = 1 THEN CAST(gridX AS INTEGER)
       ELSE -1 END               AS node_blocks
FROM CUPTI_ACTIVITY_KIND_KERNEL
WHERE start IS NOT NULL AND end IS NOT NULL;
