-- Shapes of kernels and directions of copies: read only where phases are looked for in the launches.
--
-- kind               0 kernel, 1 copy, as in device_ops.sql
-- start_ns, end_ns   on the device, nanoseconds of the session
-- process            globalPid
-- blocks             thread blocks of a kernel's grid, 0 where the report does not say
-- to_host            1 for a copy from a device to the host
SELECT 0 AS kind, CAST(start AS INTEGER) AS start_ns, CAST(end AS INTEGER) AS end_ns,
       CAST(globalPid AS INTEGER) AS process,
       coalesce(CAST(gridX AS INTEGER) * gridY * gridZ, 0) AS blocks, 0 AS to_host
FROM CUPTI_ACTIVITY_KIND_KERNEL
WHERE start IS NOT NULL AND end >= start AND globalPid IS NOT NULL
UNION ALL
SELECT 1, CAST(start AS INTEGER), CAST(end AS INTEGER), CAST(globalPid AS INTEGER), 0,
       coalesce(copyKind, 0) = 2
FROM CUPTI_ACTIVITY_KIND_MEMCPY
WHERE start IS NOT NULL AND end >= start AND globalPid IS NOT NULL;
