"""What came out of a sweep, and what it means: the store of records, statistics, selection of a
defense, comparison of attacks, and tables, figures, exports and the report made of them. Each
package imports only those before it in this order: stats, reference, store, selection, comparison,
tables, figures, export, report. Loads neither torch nor Ray.
"""
