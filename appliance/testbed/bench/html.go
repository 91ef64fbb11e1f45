package main

const pageName = "migrate.html"

func writePage(dir string, rows []Row) error { return nil }
