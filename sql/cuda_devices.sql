-- Maps each process's CUDA device numbers to the machine's GPU numbers; empty where the report lacks the map.
--
-- process_id    the operating system's process id
-- device        CUDA device number within the process
-- device_global GPU number on the machine
SELECT
  CAST(pid AS INTEGER)    AS process_id,
  CAST(cudaId AS INTEGER) AS device,
  CAST(gpuId AS INTEGER)  AS device_global
FROM TARGET_INFO_CUDA_DEVICE
WHERE pid IS NOT NULL AND cudaId IS NOT NULL AND gpuId IS NOT NULL
ORDER BY rowid;
