-- Prints a process's figures in one line, for figures.rs: requests, those without a good answer, the time, and then the
-- latencies below which 1, 2, … 98, 98.1, 98.2, … 100 % of the requests are. Times are in microseconds.
done = function(summary, latency)
   local errors = summary.errors
   local failed = errors.connect + errors.read + errors.write + errors.status + errors.timeout
   local words = { "figures", summary.requests, failed, summary.duration }
   for percent = 1, 98 do
      words[#words + 1] = latency:percentile(percent)
   end
   for thousandth = 981, 999 do
      words[#words + 1] = latency:percentile(thousandth / 10)
   end
   -- wrk has no 100th percentile.
   words[#words + 1] = latency.max
   io.write(table.concat(words, " "), "\n")
end
