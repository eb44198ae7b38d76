-- Grid sizes of kernels and directions of copies; read only for step detection without NVTX ranges.
--
-- kind               0 kernel, 1 copy, as in DeviceOps.kind
-- start_ns, end_ns   on the device, nanoseconds of the session
-- process            globalPid
-- blocks             thread blocks of a kernel's grid, within CUDA's limits; 0 where the report does not say
-- to_host            1 for a copy from a device to the host
SELECT
  0         AS kind,
  start     AS start_ns,
  end       AS end_ns,
  globalPid AS process,
  CASE WHEN gridX BETWEEN 1 AND 2147483647 AND gridY BETWEEN 1 AND 65535 AND gridZ BETWEEN 1 AND 65535
       THEN CAST(gridX AS INTEGER) * CAST(gridY AS INTEGER) * CAST(gridZ AS INTEGER) ELSE 0 END AS blocks,
  0         AS to_host
FROM CUPTI_ACTIVITY_KIND_KERNEL
WHERE start IS NOT NULL AND end IS NOT NULL
UNION ALL
SELECT 1, start, end, globalPid, 0, coalesce(copyKind, 0) = 2
FROM CUPTI_ACTIVITY_KIND_MEMCPY
WHERE start IS NOT NULL AND end IS NOT NULL;
