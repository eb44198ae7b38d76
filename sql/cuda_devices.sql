-- A device's number on the machine for each process's own number of it, where the report has the map.
--
-- process_id    as the system numbers processes
-- device        the process's number of the device
-- device_global the machine's
SELECT
  CAST(pid AS INTEGER)    AS process_id,
  CAST(cudaId AS INTEGER) AS device,
  CAST(gpuId AS INTEGER)  AS device_global
FROM TARGET_INFO_CUDA_DEVICE
WHERE pid IS NOT NULL AND cudaId IS NOT NULL AND gpuId IS NOT NULL
ORDER BY rowid;
