-- The names of NVTX domains. If a domain was created twice (cuBLAS and cuBLASLt share one), one name is kept.
--
-- process     globalTid & ~0xFFFFFF: a domain's id is unique within a process
-- domain_id   as in nvtx_ranges.sql
-- name        the domain's name
SELECT
  e.globalTid & ~0xFFFFFF                                    AS process,
  coalesce(e.domainId, 0)                                    AS domain_id,
  coalesce(CAST(max(coalesce(s.value, e.text)) AS TEXT), '') AS name
FROM NVTX_EVENTS AS e LEFT JOIN StringIds AS s ON s.id = e.textId
WHERE e.eventType = 75 AND e.globalTid IS NOT NULL
GROUP BY 1, 2;
