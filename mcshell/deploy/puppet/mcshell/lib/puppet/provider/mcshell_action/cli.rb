require 'json'
require 'open3'

Puppet::Type.type(:mcshell_action).provide(:cli) do
  desc 'Asks with `mcshell rpc … --json`; no shell reads the line.'

  attr_reader :outcome

  # Whether each node answers what `unless` expects; an error when one does not answer.
  def satisfied?
    check = resource[:unless]
    return false if check.nil?
    replies = replies_of(check['agent'], check['action'], check['inputs'] || {})
    replies.all? { |reply| check['expect'].all? { |name, value| reply['data'][name] == value } }
  end

  def ask
    replies = replies_of(resource[:agent], resource[:action], resource[:inputs], '--yes')
    @outcome = "#{replies.size} ok"
  end

  private

  def replies_of(agent, action, inputs, *options)
    line = [resource[:command], 'rpc', agent, action, '--json', *options, *targets]
    line += ['-t', resource[:timeout]] if resource[:timeout]
    line += inputs.map { |name, value| "#{name}=#{value}" }
    environment = resource[:config] ? { 'MCSHELL_CONFIG' => resource[:config] } : {}
    said, errors, status = Open3.capture3(environment, *line, stdin_data: '')
    replies = read(said)
    raise Puppet::Error, "#{agent}.#{action}: #{last_line(errors, status)}" if replies.nil? || replies.empty?
    wrong = replies.reject { |reply| reply['state'] == 'ok' }
    raise Puppet::Error, "#{agent}.#{action}: #{reasons(wrong, replies)}" unless wrong.empty?
    replies
  rescue SystemCallError => error
    raise Puppet::Error, "#{resource[:command]} cannot be run: #{error.message}"
  end

  def targets
    named = (resource[:nodes] || []).flat_map { |one| ['-I', one] }
    resource[:where] ? named + ['-S', resource[:where]] : named
  end

  def read(said)
    JSON.parse(said)['replies']
  rescue JSON::ParserError
    nil
  end

  def last_line(errors, status)
    errors.lines.map(&:strip).reject(&:empty?).last || "mcshell ended with #{status.exitstatus}"
  end

  def reasons(wrong, replies)
    told = wrong.first(3).map { |one| "#{one['sender']} is #{one['state']}: #{one['statusmsg']}" }
    more = wrong.size > 3 ? ", and #{wrong.size - 3} more" : ''
    "#{wrong.size} of #{replies.size} not ok: #{told.join(', ')}#{more}"
  end
end
