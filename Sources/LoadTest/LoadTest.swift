// Open-loop generators, histograms, reports.
