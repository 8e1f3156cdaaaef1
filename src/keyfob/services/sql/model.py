"""Names and versions of `Microsoft.Sql`."""

TYPE = "Microsoft.Sql/servers"
DATABASE = "Microsoft.Sql/servers/databases"
NAME = r"(?=.{1,63}$)[a-z0-9]+(?:-+[a-z0-9]+)*"
API_VERSIONS = (
    "2014-01-01",
    "2014-04-01-preview",
    "2014-04-01",
    "2015-01-01",
    "2015-05-01-preview",
    "2015-05-01",
    "2017-03-01-preview",
    "2017-10-01-preview",
    "2018-06-01-preview",
    "2018-06-01",
    "2018-12-01-preview",
    "2019-06-01-preview",
    "2020-02-02-preview",
    "2020-08-01-preview",
    "2020-11-01-preview",
    "2021-02-01-preview",
    "2021-05-01-preview",
    "2021-08-01-preview",
    "2021-11-01-preview",
    "2021-11-01",
    "2022-02-01-preview",
    "2022-05-01-preview",
    "2022-08-01-preview",
    "2022-11-01-preview",
    "2023-02-01-preview",
    "2023-05-01-preview",
    "2023-08-01-preview",
    "2023-08-01",
    "2024-05-01-preview",
    "2024-11-01-preview",
)
SKUS = {
    "basic": ("Basic", "Basic", 5),
    "s0": ("Standard", "Standard", 10),
    "s1": ("Standard", "Standard", 20),
    "s2": ("Standard", "Standard", 50),
    "s3": ("Standard", "Standard", 100),
    "p1": ("Premium", "Premium", 125),
    "p2": ("Premium", "Premium", 250),
    "gp_gen5_2": ("GP_Gen5", "GeneralPurpose", 2),
    "gp_s_gen5_1": ("GP_S_Gen5", "GeneralPurpose", 1),
}
"""Service objective, lower-case → SKU name, tier, capacity."""
