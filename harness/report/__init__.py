"""From the results of a study to what is printed: statistics, tables, figures and one page of HTML.

``summary`` computes, ``evidence`` and ``answer`` put facts into words, ``tables`` lays out, ``latex``, ``markdown``,
``longform`` and ``html`` write the forms, ``boxes``, ``curves`` and ``overlays`` draw, ``write`` fills a folder.
Import from the modules: they load pandas and matplotlib, this package does not.
"""
