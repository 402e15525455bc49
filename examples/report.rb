# Runs inside WebAssembly (examples/ruby.mjs), where /work is all there is of the host.
# Reads forty years of (made-up) readings of four weather stations, works out each station's warming, and writes
# report.json beside them.

require 'csv'
require 'digest'
require 'json'
require 'set'

WORK = '/work'

$stdout.sync = true
puts RUBY_DESCRIPTION

# Degrees a decade by least squares over [year, mean] pairs.
def slope(points)
  years = points.sum { |year, _| year }.fdiv(points.size)
  mean = points.sum { |_, value| value } / points.size
  above = points.sum { |year, value| (year - years) * (value - mean) }
  below = points.sum { |year, _| (year - years)**2 }
  10 * above / below
end

# How far the slope moves when the years are drawn again at random: the middle 95%.
# The seed is fixed, so every engine must come to the same digits.
def spread(points, draws: 2000)
  random = Random.new(1859)
  slopes = Array.new(draws) { slope(Array.new(points.size) { points.sample(random: random) }) }.sort
  [slopes[draws * 25 / 1000], slopes[draws * 975 / 1000]]
end

stations = JSON.parse(File.read("#{WORK}/stations.json"), symbolize_names: true)
readings = CSV.read("#{WORK}/readings.csv", headers: true, converters: :numeric)
known = stations.to_set { |station| station[:id] }
strangers = readings.reject { |row| known.include?(row['station']) }
raise "readings.csv names unknown stations: #{strangers.map { |row| row['station'] }.uniq}" if strangers.any?

puts "read #{readings.size} readings of #{stations.size} stations"
by_station = readings.group_by { |row| row['station'] }

report = stations.map do |station|
  yearly = by_station[station[:id]].group_by { |row| row['year'] }.map do |year, rows|
    [year, rows.sum { |row| row['celsius'] } / rows.size]
  end
  low, high = spread(yearly)
  coldest, warmest = yearly.minmax_by(&:last)
  station.merge(
    years: yearly.size,
    coldest: coldest.first,
    warmest: warmest.first,
    degrees_a_decade: slope(yearly).round(4),
    likely_between: [low.round(4), high.round(4)]
  )
end

report.each do |line|
  puts format('%<name>-10s %<degrees_a_decade>+.2f degrees a decade', line)
end

inputs = %w[stations.json readings.csv].to_h { |name| [name, Digest::SHA256.file("#{WORK}/#{name}").hexdigest] }
File.write("#{WORK}/report.json", JSON.pretty_generate(inputs: inputs, stations: report) + "\n")
puts "wrote #{WORK}/report.json, #{File.size("#{WORK}/report.json")} bytes"

# Nothing outside the directory may be reached, in any of the ways that are usually tried.
ATTEMPTS = {
  'read /etc/passwd' => -> { File.read('/etc/passwd') },
  'read ../../package.json' => -> { File.read('../../package.json') },
  'read /work/../package.json' => -> { File.read("#{WORK}/../package.json") },
  'read a link to /etc/passwd' => -> { File.read("#{WORK}/innocent.txt") },
  'write /work/../stolen.txt' => -> { File.write("#{WORK}/../stolen.txt", 'x') },
  'list /home' => -> { Dir.children('/home') }
}.freeze

ATTEMPTS.each do |what, attempt|
  attempt.call
rescue SystemCallError => e
  puts "refused: #{what} (#{e.class})"
else
  raise "#{what}: this should have been refused"
end
