"""The kinds of difference, in the order in which they are listed."""

PLAN = "plan"            # the same plan but for our scan node's name and its own lines
PLAN_SHAPE = "shape"     # another plan for the same statement
ORDER = "order"          # the same rows in another physical order
CTID = "ctid"            # tids, and rows chosen by them
SIZE = "size"            # sizes in bytes or pages, and how single values are stored
CONTEXT = "context"      # CONTEXT or DETAIL that names a tuple of the companion relation
CATALOG = "catalog"      # entries that list the access method, the extension or a TOAST relation besides
UNSUPPORTED = "unsupported"
KINDS = (PLAN, PLAN_SHAPE, ORDER, CTID, SIZE, CONTEXT, CATALOG, UNSUPPORTED)
