.PHONY: validation
validation: ## docs/validation.md and its pictures from docs/data
	python docs/validation.py render
