"""TaxBreak as an nsys recipe: `nsys recipe taxbreak_layers --input REPORTS`.

A thin wrapper: the package does the analysis, so that recipe and command line give the same integers. It uses only
the parts of `nsys_recipe` that exist since 2023.4.
"""

import sys
from datetime import datetime

from nsys_recipe.lib import exceptions, recipe
from nsys_recipe.lib.args import Option
from nsys_recipe.log import logger

try:
    from taxbreak_nsys.cli.option_groups import add_arguments, read_arguments
    from taxbreak_nsys.cli.shared_options import AnalysisChoices
    from taxbreak_nsys.errors import TaxbreakError
    from taxbreak_nsys.recipe import detail_stats, multi_rank
except ImportError as error:
    raise ImportError(
        f"{error}; nsys runs recipes with {sys.executable}: install there with "
        f"'{sys.executable} -m pip install taxbreak-nsys', or put a Python that has it first on PATH"
    ) from error

# newer releases may drop the name; RuntimeError also ends the recipe with its message
_RecipeError = getattr(exceptions, "ValueError", RuntimeError)


class TaxbreakLayers(recipe.Recipe):
    """Layers of host time and HDBI: one row per report, process, thread and phase."""

    def run(self, context):
        """Analyse each report in a task of its own, then write the tables and the notebook."""
        super().run(context)
        arguments = self._parsed_args
        try:
            options = read_arguments(AnalysisChoices, arguments).options()
            ranks = context.wait(context.map(multi_rank.analyze_rank, arguments.input, options=options))
            ranks = multi_rank.in_rank_order(ranks)
            for rank in ranks if len(ranks) > 1 else ():
                if rank.error:
                    logger.error(f"Left out: {rank.error}")
            per_rank = multi_rank.rank_table(ranks)
        except TaxbreakError as error:
            raise _RecipeError(str(error)) from error
        self._save("rank_stats", per_rank)
        self._save("all_stats", multi_rank.all_table(per_rank))
        self._save_details([rank for rank in ranks if rank.table is not None])
        multi_rank.write_plain(multi_rank.files_table(ranks), self.add_output_file("files.parquet"))
        self.create_notebook("taxbreak_layers.ipynb")
        self._analysis_dict.update(
            {"EndTime": str(datetime.now()), "InputFiles": arguments.input, "Outputs": self._output_files}
        )
        self.create_analysis_file()

    def _save_details(self, ranks):
        files = multi_rank.file_names([rank.path for rank in ranks])
        for name in detail_stats.RANK_TABLES:
            per_rank = detail_stats.detail_rank_table(name, [rank.details for rank in ranks], files)
            over_ranks = detail_stats.detail_all_table(name, per_rank)
            for title, table in ((f"{name}_rank_stats", per_rank), (f"{name}_all_stats", over_ranks)):
                multi_rank.write_plain(table, self.add_output_file(f"{title}.parquet"))
                if self._parsed_args.csv:
                    multi_rank.write_csv(table, self.add_output_file(f"{title}.csv"))

    def _save(self, name, table):
        multi_rank.write_indexed(table, self.add_output_file(f"{name}.parquet"))
        if self._parsed_args.csv:
            multi_rank.write_csv(table, self.add_output_file(f"{name}.csv"))

    @classmethod
    def get_argument_parser(cls):
        """Return the parser: nsys's options for input and output, the command line's options for the analysis."""
        parser = super().get_argument_parser()
        parser.add_recipe_argument(Option.INPUT, required=True)
        parser.add_recipe_argument(Option.OUTPUT)
        parser.add_recipe_argument(Option.FORCE_OVERWRITE)
        parser.add_recipe_argument(Option.CSV)
        add_arguments(AnalysisChoices, parser.add_recipe_argument)
        return parser
