-- The threads that call CUDA.
--
-- thread   globalTid
SELECT DISTINCT globalTid AS thread FROM CUPTI_ACTIVITY_KIND_RUNTIME WHERE globalTid IS NOT NULL;
