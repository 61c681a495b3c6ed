# MCollective's real filter evaluation, for a node that is described in JSON. Argument: CONFIG.
require 'json'
require 'mcollective'
include MCollective

config = Config.instance
config.loadconfig(ARGV[0])
Data.load_data_sources
security = PluginManager['security_plugin']

$stdout.sync = true
$stdin.each_line do |line|
  ask = JSON.parse(line)
  begin
    answer =
      case ask['do']
      when 'matches'
        Facts::Given_facts.given = ask['facts']
        File.write(config.classesfile, ask['classes'].join("\n") + "\n")
        config.instance_variable_set(:@identity, ask['identity'])
        Agents.define_singleton_method(:agentlist) { ask['agents'] }
        filter = Marshal.load([ask['filter']].pack('H*'))
        { matches: !!security.validate_filter?(filter) }
      when 'parse'
        filter = Util.empty_filter
        filter['compound'] = ask['compound'].map { |s| Matcher.create_compound_callstack(s) }
        filter['fact'] = ask['fact'].map { |s| Util.parse_fact_string(s) }
        filter['cf_class'] = ask['class']
        filter['identity'] = ask['identity']
        { filter: Marshal.dump(filter).unpack1('H*') }
      end
  rescue Exception => e
    answer = { error: "#{e.class}: #{e.message}".dup.force_encoding('UTF-8').scrub }
  end
  puts JSON.generate(answer)
end
